"""The transform of each dataset: one pure module each, named as its dataset."""
