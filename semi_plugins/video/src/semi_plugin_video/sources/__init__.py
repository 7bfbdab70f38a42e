"""What a sample may be: an array or files of frames, an animation, a film."""
