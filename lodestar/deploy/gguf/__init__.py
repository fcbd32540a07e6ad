"""GGUF, the one-file format of llama.cpp: the container, the blocks of numbers, and what llama.cpp's architectures and vocabularies are."""
