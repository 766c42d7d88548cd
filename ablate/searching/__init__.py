"""Searches: which configuration is best, found with Optuna's samplers over paired seeds, resumable, in any number of
processes.

    space        the override grammar as dimensions, some of which exist under conditions only
    settings     what `hydra.sweeper.…` says: objective, trials, sampler, pruner, race, storage
    samplers     Optuna's samplers and pruners by name, with options
    storage      the study: SQLite, a journal, or a database by URL; what it was begun with
    workers      which process holds which trial, and whether it still lives
    race         how many seeds a configuration deserves
    evaluation   what a search asks of whatever computes its objective
    trainer      … of the runs of ablate: trained side by side, fused, reused
    jobs         … of any other Hydra program, by its return value
    search       the loop: ask, evaluate, prune, tell
    tried        which configurations of a space are left
    pruning      what is measured in training, and whether a pruner stops it for that
    standings    what a study keeps of a configuration; the best, the front
    finale       the best few again, on fresh seeds
    outcome      best.yaml, trials.csv, search.json
    progress     what a person sees meanwhile
    hydra_search what the Hydra plugin calls
"""
