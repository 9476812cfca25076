"""The parts that several networks are made of."""
