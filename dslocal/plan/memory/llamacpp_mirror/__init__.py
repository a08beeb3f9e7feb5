"""Mirror llama.cpp's graph and allocator, in sizes alone, for machines that are not here."""
