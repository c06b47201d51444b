"""Captioning: which encoder/decoder describes a photo best? A. Kochetkov, D. Khoroshenko, 2025."""
