"""llama.cpp's own results, through the C interface that the package xllamacpp carries.

    pip install xllamacpp

The structures of parameters change from version to version, so they are taken as bytes: what is set in
them is checked against the documented defaults first.
"""

import ctypes
from pathlib import Path

import xllamacpp


class Parameters(ctypes.Structure):
    # More bytes than any version has; the library reads and writes only its own.
    _fields_ = [("numbers", ctypes.c_uint32 * 512)]


class Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


def library():
    folder = Path(xllamacpp.__file__).parent
    lib = ctypes.CDLL(str(next(folder.glob("*.so"))))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32
    for name, result, arguments in [
        ("llama_model_default_params", Parameters, []),
        ("llama_context_default_params", Parameters, []),
        ("llama_model_load_from_file", pointer, [text, Parameters]),
        ("llama_init_from_model", pointer, [pointer, Parameters]),
        ("llama_model_get_vocab", pointer, [pointer]),
        ("llama_model_chat_template", text, [pointer, text]),
        ("llama_vocab_n_tokens", number, [pointer]),
        ("llama_vocab_is_eog", ctypes.c_bool, [pointer, number]),
        ("llama_vocab_bos", number, [pointer]),
        ("llama_vocab_get_add_bos", ctypes.c_bool, [pointer]),
        (
            "llama_tokenize",
            number,
            [pointer, text, number, ctypes.POINTER(number), number, ctypes.c_bool, ctypes.c_bool],
        ),
        (
            "llama_token_to_piece",
            number,
            [pointer, number, text, number, number, ctypes.c_bool],
        ),
        ("llama_batch_init", Batch, [number, number, number]),
        ("llama_batch_free", None, [Batch]),
        ("llama_decode", number, [pointer, Batch]),
        ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), [pointer, number]),
        ("llama_get_memory", pointer, [pointer]),
        ("llama_memory_clear", None, [pointer, ctypes.c_bool]),
        ("llama_set_n_threads", None, [pointer, number, number]),
        ("llama_log_set", None, [pointer, pointer]),
    ]:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Llama:
    """A model in llama.cpp."""

    def __init__(self, path, context=2048, threads=2, quiet=True, exact=False):
        """`exact`: keys and values stay float32, and attention is computed step by step, as our --compute float32 does."""
        self.lib = library()
        if quiet:
            self.silence = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
                lambda level, text, data: None
            )
            self.lib.llama_log_set(ctypes.cast(self.silence, ctypes.c_void_p), None)
        self.model = self.lib.llama_model_load_from_file(
            str(path).encode(), self.lib.llama_model_default_params()
        )
        if not self.model:
            raise OSError(f"{path}: llama.cpp does not load it")
        parameters = self.lib.llama_context_default_params()
        # n_ctx, n_batch, n_ubatch, n_seq_max
        if list(parameters.numbers[:4]) != [512, 2048, 512, 1]:
            raise OSError(f"llama.cpp has other defaults than expected: {list(parameters.numbers[:4])}")
        parameters.numbers[0] = context
        parameters.numbers[1] = context
        if exact:
            # type_k and type_v are float16 (1) by default, flash_attn_type is "auto" (-1).
            if list(parameters.numbers[26:28]) != [1, 1] or parameters.numbers[13] != 2**32 - 1:
                raise OSError("llama.cpp has its cache's types elsewhere than expected")
            parameters.numbers[26] = parameters.numbers[27] = 0
            parameters.numbers[13] = 0
        self.context = self.lib.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise OSError(f"{path}: llama.cpp makes no context")
        self.lib.llama_set_n_threads(self.context, threads, threads)
        self.vocabulary = self.lib.llama_model_get_vocab(self.model)
        self.size = self.lib.llama_vocab_n_tokens(self.vocabulary)
        self.limit = context
        self.batch = self.lib.llama_batch_init(context, 0, 1)

    @property
    def template(self):
        """The chat template of the file."""
        found = self.lib.llama_model_chat_template(self.model, None)
        return found.decode() if found else None

    def tokenize(self, text, special=True, begin=None):
        """The ids of a text; `begin` None: with the begin token if the file says so."""
        raw = text.encode()
        ids = (ctypes.c_int32 * (len(raw) + 8))()
        add = begin if begin is not None else True
        count = self.lib.llama_tokenize(self.vocabulary, raw, len(raw), ids, len(ids), add, special)
        if count < 0:
            raise ValueError("llama.cpp: the text does not fit")
        return list(ids[:count])

    def piece(self, token):
        buffer = ctypes.create_string_buffer(512)
        count = self.lib.llama_token_to_piece(self.vocabulary, token, buffer, 512, 0, True)
        return buffer.raw[: max(0, count)]

    def text(self, tokens):
        return b"".join(self.piece(token) for token in tokens).decode(errors="replace")

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)

    def decode(self, tokens, start, every=False):
        """Runs tokens at the positions from `start`; logits of the last one or of every one."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = start + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = 1 if every or index == len(tokens) - 1 else 0
        status = self.lib.llama_decode(self.context, batch)
        if status != 0:
            raise RuntimeError(f"llama.cpp: decoding ended with {status}")

    def logits(self, index):
        import numpy

        found = self.lib.llama_get_logits_ith(self.context, index)
        return numpy.ctypeslib.as_array(found, shape=(self.size,)).copy()

    def greedy(self, prompt, count):
        """The likeliest tokens after a prompt, up to the end token; and the margins to the second ones."""
        import numpy

        self.clear()
        self.decode(prompt, 0)
        tokens, margins = [], []
        position = len(prompt)
        for _ in range(count):
            logits = self.logits(-1)
            token = int(numpy.argmax(logits))
            best = numpy.partition(logits, -2)[-2:]
            if self.lib.llama_vocab_is_eog(self.vocabulary, token):
                break
            tokens.append(token)
            margins.append(float(best[1] - best[0]))
            self.decode([token], position)
            position += 1
        return tokens, margins

    def losses(self, window):
        """The negative log-likelihoods of a window's tokens but the first, which nothing precedes."""
        import numpy

        self.clear()
        losses = []
        for start in range(0, len(window), 256):
            part = window[start : start + 256]
            self.decode(part, start, every=True)
            for index in range(len(part)):
                following = start + index + 1
                if following >= len(window):
                    break
                logits = self.logits(index).astype(numpy.float64)
                top = logits.max()
                total = top + numpy.log(numpy.exp(logits - top).sum())
                losses.append(total - logits[window[following]])
        return losses
