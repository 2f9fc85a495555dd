"""What adapting the backbone is worth: ways to adapt it, trained on the demo's data with the same budget and seeds."""
