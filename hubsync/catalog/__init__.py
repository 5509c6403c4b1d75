"""What is recorded: repos, commits, trees, refs, blobs.  The only room that speaks SQL.

`hubsync.catalog.catalog.Catalog` is the door; `hubsync.catalog.schema` is for
``hubsync db``.
"""
