"""Score comments over HTTP: `python -m toxlib serve RUN`.

`app.py` has the routes and their limits, `batcher.py` scores the texts of several requests
together, and `page/` is the page with a text box. This wing imports from `scoring`, `runs` and the
wings below them. It needs the packages of requirements-serve.txt.
"""
