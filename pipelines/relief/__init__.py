"""The geometric pipeline: a picture's outline inflated into a closed, textured solid. No learned weights."""
