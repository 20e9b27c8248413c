"""Loads libfob.so.0, and declares its functions. Importing it fails where the library is missing or has another ABI.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p

from fob import _abi

_client = _options = c_void_p
_error = POINTER(_abi.error)
_call = POINTER(c_uint64)
_out = POINTER(c_void_p)


def _request(struct: type[ctypes.Structure]) -> object:
    return POINTER(struct)


_OPTIONS: dict[str, list[object]] = {
    "set_address": [c_char_p],
    "add_address": [c_char_p],
    "set_environment_address": [_abi.c_enum, c_char_p],
    "set_tls_ca": [c_char_p],
    "set_tls_certificate": [c_char_p, c_char_p],
    "set_tls_server_name": [c_char_p],
    "set_timeout_ms": [c_uint32],
    "set_connect_wait_ms": [c_uint32],
    "set_fail_fast": [c_bool],
    "set_in_flight": [ctypes.c_uint],
    "set_queue": [ctypes.c_uint],
    "set_loop": [c_bool],
    "set_state_callback": [_abi.state_cb, c_void_p],
}

# name: (request, what a synchronous call has between the request and the error, the asynchronous call's callback)
_CALLS: dict[str, tuple[type[ctypes.Structure], list[object], object]] = {
    "verify": (_abi.verify_request, [POINTER(_abi.verification)], _abi.verify_cb),
    "verify_batch": (_abi.verify_batch_request, [POINTER(_abi.verification), POINTER(c_int)], _abi.verify_batch_cb),
    "create_account": (_abi.account_request, [_out], _abi.created_account_cb),
    "roll_key": (_abi.roll_request, [_out], _abi.rolled_key_cb),
    "revoke_key": (_abi.revoke_request, [POINTER(_abi.key)], _abi.key_cb),
    "suspend_account": (_abi.account_request, [POINTER(_abi.account)], _abi.account_cb),
    "resume_account": (_abi.account_request, [POINTER(_abi.account)], _abi.account_cb),
    "import_accounts": (_abi.import_request, [POINTER(_abi.c_enum)], _abi.import_cb),
    "health": (_abi.health_request, [POINTER(_abi.c_enum)], _abi.health_cb),
    "stats": (_abi.stats_request, [_out], _abi.stats_cb),
}

_LISTS: dict[str, object] = {
    "list_keys": _abi.key_page_cb, "list_accounts": _abi.account_page_cb, "list_events": _abi.event_page_cb}

_FREE = ("created_account", "rolled_key", "key_page", "account_page", "event_page", "backup_part", "stats", "options",
         "client")


def _prototypes() -> dict[str, tuple[object, list[object]]]:
    """{name: (type of the result, types of the arguments)} of every function that this package calls."""
    found: dict[str, tuple[object, list[object]]] = {
        "fob_options_new": (c_void_p, []),
        "fob_client_new": (c_int, [_options, _out, _error]),
        "fob_client_fd": (c_int, [_client]),
        "fob_client_dispatch": (c_int, [_client]),
        "fob_cancel": (c_int, [_client, c_uint64]),
        "fob_read_backup": (c_int, [_client, _request(_abi.backup_request), _out, _error]),
        "fob_http_status": (c_int, [c_int, _abi.c_enum]),
        "fob_wipe": (None, [c_void_p, c_size_t]),
        "fob_version": (c_char_p, []),
    }
    for name, arguments in _OPTIONS.items():
        found["fob_options_" + name] = (c_int, [_options, *arguments])
    for name, (request, outputs, callback) in _CALLS.items():
        found["fob_" + name] = (c_int, [_client, _request(request), *outputs, _error])
        found["fob_" + name + "_async"] = (c_int, [_client, _request(request), callback, c_void_p, _call, _error])
    for name, callback in _LISTS.items():
        start = [_client, _request(_abi.list_request), POINTER(_abi.cursor)]
        found["fob_" + name] = (c_int, [*start, _out, _error])
        found["fob_" + name + "_async"] = (c_int, [*start, callback, c_void_p, _call, _error])
    for name in _FREE:
        found["fob_" + name + "_free"] = (None, [c_void_p])
    return found


PROTOTYPES = _prototypes()

# What fob.h has and this package does not call, and why.
NOT_CALLED = {
    "fob_allows": "Verification.allows is the same comparison",
    "fob_basic_parse": "verify_authorization() hands the header to libfob, and gets a verdict for a wrong one",
    "fob_version_number": "the symbol version is checked instead: it is what tells one ABI from another",
    **{"fob_cluster_%s" % name: "a cluster is its operator's to make and to see: fob cluster" for name in (
        "init", "init_async", "forget", "forget_async", "status", "status_async", "status_free")},
    **{"fob_%s_name" % name: "str() of a member of the enum is that name" for name in (
        "verdict", "environment", "kind", "key_state", "event_type", "import_outcome", "health_status",
        "operation_class", "fault")},
}


def _check_abi(library: ctypes.CDLL) -> None:
    """What the dynamic linker checks for a program in C: that the library has our version of its symbols."""
    try:
        dlvsym = ctypes.CDLL(None).dlvsym
    except AttributeError:
        raise ImportError("fob: this C library has no dlvsym(), by which libfob's ABI is checked") from None
    dlvsym.restype = c_void_p
    dlvsym.argtypes = [c_void_p, c_char_p, c_char_p]
    if not dlvsym(library._handle, b"fob_verify", _abi.SYMBOL_VERSION):
        raise ImportError("fob: the installed libfob.so.0 has another ABI than %s, which this package is for" %
                          _abi.SYMBOL_VERSION.decode())


def _open() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libfob.so.0")
    except OSError as e:
        raise ImportError("fob: libfob.so.0 cannot be loaded; install it (%s)" % e) from None
    _check_abi(library)
    return library


def _declare(library: ctypes.CDLL) -> None:
    for name, (result, arguments) in PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError("fob: the installed libfob.so.0 is older than this package: no %s()" % name) from None
        function.restype = result
        function.argtypes = arguments


# Its functions let go of Python's lock while they run, so threads wait for fobd side by side.
lib = _open()
_declare(lib)

# The same functions with the lock held, for those that never wait: the asynchronous calls and fob_client_dispatch().
# Otherwise each callback would take the lock anew; beside a thread that computes, calls took 1.6 times as long.
lib_held = ctypes.PyDLL("libfob.so.0", handle=lib._handle)
_declare(lib_held)


def version() -> str:
    """The version of the libfob that is loaded, such as "0.2.0"."""
    text: bytes = lib.fob_version()
    return text.decode()


def wipe(secret: bytearray) -> None:
    """Overwrite a bytearray that held a secret. A str or bytes cannot be overwritten: Python may share it."""
    if not isinstance(secret, bytearray):
        raise TypeError("only a bytearray can be wiped, not %s" % type(secret).__name__)
    if secret:
        lib.fob_wipe(ctypes.addressof(ctypes.c_char.from_buffer(secret)), len(secret))
