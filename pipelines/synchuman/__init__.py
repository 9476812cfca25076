"""One picture of a person → views of all sides and a rough shape → a textured asset (SyncHuman)."""
