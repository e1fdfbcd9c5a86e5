"""Write folders of clips that a pipeline generates, all of them or the best of several."""
