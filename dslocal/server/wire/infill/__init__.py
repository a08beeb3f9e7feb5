"""llama-server's ``/infill``, for llama.vim and llama.vscode."""
