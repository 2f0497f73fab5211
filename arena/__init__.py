"""Everything with consequences: model files, devices, arenas, loading, guarding, the command line.

Planning is `planner`, which this package may import and never the reverse. What reads, judges and
loads a plan imports the standard library and `acl` alone (docs/design.md section 3).
"""
