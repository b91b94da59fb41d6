"""The Django ORM broker: the database that a site already has is its queue."""
