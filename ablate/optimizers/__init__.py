"""What moves the parameters: update rules on stacked parameters, and how the learning rate changes over a run.

    optimizer.py    what an optimizer says about itself, and `ablate.optimizer`, by which it is brought
    rules.py        those that come with the package
    schedule.py     what a schedule says about itself, and `ablate.schedule`
    schedules.py    those that come with the package

Nothing here imports torch: a rule works on what it is given.
"""
