"""A schedule of your own:   python -m ablate plugins=[docs/examples/schedule.py] schedule=inverse_root,constant"""

import ablate


@ablate.schedule(source="Vaswani et al. 2017, section 5.3")
def inverse_root(step, total, *, warmup=0.1):
    """The rate rises over the first share of the run, then falls as 1/√step."""
    rise = max(1, round(warmup * total))
    return min((step + 1) / rise, (rise / (step + 1)) ** 0.5)
