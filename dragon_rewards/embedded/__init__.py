"""The embedded models, which are small, trained by this project and shipped with the package."""
