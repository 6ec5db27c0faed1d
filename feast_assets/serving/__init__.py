"""Feature servers: the verbs once (`api`), and thin doors of them (`http`)."""
