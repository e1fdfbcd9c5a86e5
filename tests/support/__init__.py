"""What tests share: parts, clips, pipelines, environments, a browser."""
