"""What is done to pictures after they are drawn, or to pictures from elsewhere."""
