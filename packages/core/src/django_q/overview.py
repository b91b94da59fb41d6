"""The figures of all clusters and of the results' table, summed up."""
