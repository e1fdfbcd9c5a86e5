"""The report page: a folder of results as one HTML file that needs no network."""
