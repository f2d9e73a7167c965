"""What synth refuses."""
