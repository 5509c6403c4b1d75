"""Our nouns: repos, revisions, commits, digests, trees.  Standard library only."""
