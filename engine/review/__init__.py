"""What people decide about photographs: decisions that last, what follows from them, and the pages to make them on."""
