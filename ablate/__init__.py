"""ablate: which part of a recurrent network, which hyperparameter matters, and by how much.

The package, from what everything rests on to what a person types:

    config, compose    the knobs: what is legal, what decides an outcome, from overrides to a Config
    metrics, results   what is measured; what a run leaves on disk
    data               texts, vocabularies, minibatches
    models             the cells, readable and as torch.nn has them, on shared named parameters
    training           one run from config to record
    sweeping           a list of configs to finished records: skip, reuse, isolate, resume, progress
    plugins            the classes that Hydra discovers
    analysis, report   records to tables and figures, without torch
    cli                python -m ablate
"""
