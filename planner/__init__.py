"""Values into values: fleets, order, conflicts, offsets, bounds, plans and figures.

No file, clock, thread, process, device or vendor word belongs here; `arena` has everything with
consequences. The floors are in docs/design.md section 3.
"""
