"""Training: data layouts, the lesion-grouped split, augmentation, models, the loop, evaluation and the demo data.

Torch lives here and in ``export`` only; a device never imports this package.
"""
