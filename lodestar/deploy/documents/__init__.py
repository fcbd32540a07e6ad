"""Questions over a folder of documents: files → passages with their pages and lines → an index → answers with citations.

This stands in deploy/, not in prepare/: an index is part of what is served, its passages are whole sentences (build/sentences.py) with
vectors of a trained encoder (build/embed.py), and prepare may know neither. The file that lasts is store/passages.py.
"""
