"""What a model has learned, seen from outside: its errors, its words, what lies between its pictures, its axes."""
