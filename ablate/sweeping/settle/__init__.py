"""`ablate settle`: a sweep gets seeds until its claims are decided, first where a second decides most.

standing    how each claim stands, and which seeds it asks for
settling    the loop: one batch of seeds after the other, through the ordinary sweep
show        what a person sees of it
"""
