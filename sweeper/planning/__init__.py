"""Which run comes next: proposals, races, and a preview of both. Nothing here knows Ray or torch."""
