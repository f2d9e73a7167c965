"""State machines as pictures: read, laid out once, and drawn as SVG or as text. Nothing is asked of AWS here."""
