"""Answering clients of the Hugging Face Hub from the store.  Nothing upstream."""
