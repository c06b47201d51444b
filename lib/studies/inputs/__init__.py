"""What comes in: downloads, pictures, features, splits, text files."""
