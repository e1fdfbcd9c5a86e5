"""The embedded models: small, trained by this project, shipped with the package."""
