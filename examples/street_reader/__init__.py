"""A street corner: four cameras read signs, a microphone listens, files are told apart.

What an application around a shared arena looks like: `app` runs frames from threads of its own;
`signs`, `text`, `sound` and `content` prepare inputs and understand outputs. `arena demo` runs it
and measures; `python examples/street_reader` runs it alone.
"""
