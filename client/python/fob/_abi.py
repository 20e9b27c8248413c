"""The structs, constants and callback types of fob.h, in its order and under its names without "fob_" and "FOB_".

tests/integration/test_python_abi.py holds each size, offset and number against the header that it compiles.
"""

from __future__ import annotations

from ctypes import (CFUNCTYPE, POINTER, Structure, c_bool, c_char, c_char_p, c_int, c_int64, c_size_t, c_uint8,
                    c_uint32, c_uint64, c_void_p)

SYMBOL_VERSION = b"FOB_0.2"  # as in libfob.map

ACCOUNT_SIZE = 65
LAST4_SIZE = 5
PEER_SIZE = 65
ON_BEHALF_OF_SIZE = 65
SECRET_SIZE = 48
DETAIL_SIZE = 128
TOKEN_LEN = 32
SHA256_LEN = 32
TRACEPARENT_LEN = 55
BATCH_MAX = 256
IMPORT_MAX = 256
PAGE_MAX = 1000
ADDRESSES_MAX = 8
TIMEOUT_MAX_MS = 60000
GRACE_MAX_S = 86400
GRACE_NONE_S = 0xffffffff
BACKUP_LEN = 16
CLUSTER_ID_LEN = 16
CLUSTER_ADDRESS_SIZE = 128
CLUSTER_CLOSED_SIZE = 240
DURATION_BUCKETS = 25
BASIC_MAX = 128

c_enum = c_int  # of an enum; test_python_abi.py checks their sizes


class error(Structure):
    _fields_ = [("fault", c_int), ("message", c_char * 240), ("reserved", c_uint32), ("reserved_more", c_uint64 * 3)]


class verify_request(Structure):
    # A c_char_p takes bytes, which it borrows, or an address.
    _fields_ = [("size", c_size_t), ("secret", c_char_p), ("secret_len", c_size_t), ("authorization", c_char_p),
                ("authorization_len", c_size_t), ("operation", c_char_p), ("require_environment", c_enum),
                ("timeout_ms", c_uint32), ("traceparent", c_char_p)]


class verification(Structure):
    _fields_ = [("size", c_size_t), ("verdict", c_enum), ("environment", c_enum), ("kind", c_enum),
                ("livemode", c_bool), ("superseded", c_bool), ("generation", c_uint32),
                ("current_generation", c_uint32), ("created_ms", c_int64), ("expires_ms", c_int64),
                ("account", c_char * ACCOUNT_SIZE), ("last4", c_char * LAST4_SIZE), ("detail", c_char * DETAIL_SIZE)]


class verify_batch_request(Structure):
    _fields_ = [("size", c_size_t), ("request_size", c_size_t), ("result_size", c_size_t),
                ("requests", POINTER(verify_request)), ("n", c_size_t), ("timeout_ms", c_uint32),
                ("traceparent", c_char_p)]


class key(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("kind", c_enum), ("state", c_enum),
                ("generation", c_uint32), ("created_ms", c_int64), ("expires_ms", c_int64), ("ended_ms", c_int64),
                ("last_used_ms", c_int64), ("account", c_char * ACCOUNT_SIZE), ("last4", c_char * LAST4_SIZE)]


class account(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("suspended", c_bool), ("secret_generation", c_uint32),
                ("publishable_generation", c_uint32), ("keys_in_grace", c_uint32), ("created_ms", c_int64),
                ("suspended_ms", c_int64), ("account", c_char * ACCOUNT_SIZE)]


class event(Structure):
    _fields_ = [("size", c_size_t), ("sequence", c_uint64), ("time_ms", c_int64), ("type", c_enum), ("kind", c_enum),
                ("generation", c_uint32), ("expires_ms", c_int64), ("account", c_char * ACCOUNT_SIZE),
                ("last4", c_char * LAST4_SIZE), ("uid", c_uint32), ("pid", c_uint32), ("has_user", c_bool),
                ("address", c_char * PEER_SIZE), ("certificate", c_char * PEER_SIZE), ("reserved", c_char * 5),
                ("on_behalf_of", c_char * ON_BEHALF_OF_SIZE)]


class account_request(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("account", c_char_p), ("token", c_char_p),
                ("timeout_ms", c_uint32), ("traceparent", c_char_p),
                ("on_behalf_of", c_char_p)]


class roll_request(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("account", c_char_p), ("kind", c_enum),
                ("grace_s", c_uint32), ("expected_generation", c_uint32), ("authorizing_secret", c_char_p),
                ("authorizing_secret_len", c_size_t), ("token", c_char_p), ("timeout_ms", c_uint32),
                ("traceparent", c_char_p), ("on_behalf_of", c_char_p)]


class revoke_request(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("account", c_char_p), ("kind", c_enum),
                ("generation", c_uint32), ("token", c_char_p), ("timeout_ms", c_uint32), ("traceparent", c_char_p),
                ("on_behalf_of", c_char_p)]


class new_key(Structure):
    # Reading a c_char_p would copy the secret to bytes, which cannot be wiped.
    _fields_ = [("size", c_size_t), ("key", c_void_p), ("secret", c_void_p)]


class created_account(Structure):
    _fields_ = [("size", c_size_t), ("account", c_void_p), ("secret_key", c_void_p), ("publishable_key", c_void_p)]


class rolled_key(Structure):
    _fields_ = [("size", c_size_t), ("new_key", c_void_p), ("old_key", c_void_p)]


class import_account(Structure):
    _fields_ = [("size", c_size_t), ("account", c_char_p), ("created_ms", c_int64), ("secret_sha256", c_char_p),
                ("secret_last4", c_char_p), ("publishable_sha256", c_char_p), ("publishable_last4", c_char_p)]


class import_request(Structure):
    _fields_ = [("size", c_size_t), ("account_size", c_size_t), ("environment", c_enum),
                ("accounts", POINTER(import_account)), ("n", c_size_t), ("token", c_char_p), ("timeout_ms", c_uint32),
                ("traceparent", c_char_p), ("on_behalf_of", c_char_p)]


class list_request(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("account", c_char_p), ("page_size", c_uint32),
                ("timeout_ms", c_uint32), ("traceparent", c_char_p)]


class cursor(Structure):
    _fields_ = [("done", c_bool), ("len", c_uint8), ("bytes", c_uint8 * 126)]


class key_page(Structure):
    _fields_ = [("size", c_size_t), ("n", c_size_t), ("keys", POINTER(c_void_p))]


class account_page(Structure):
    _fields_ = [("size", c_size_t), ("n", c_size_t), ("accounts", POINTER(c_void_p))]


class event_page(Structure):
    _fields_ = [("size", c_size_t), ("n", c_size_t), ("events", POINTER(c_void_p))]


class backup_request(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("backup", c_char_p), ("offset", c_uint64),
                ("timeout_ms", c_uint32), ("traceparent", c_char_p)]


class backup_part(Structure):
    _fields_ = [("size", c_size_t), ("total", c_uint64), ("len", c_size_t), ("data", c_void_p),
                ("sha256", c_uint8 * SHA256_LEN), ("revision", c_uint64), ("event_sequence", c_uint64)]


class cluster_init_request(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("again", c_bool), ("token", c_char_p),
                ("timeout_ms", c_uint32), ("traceparent", c_char_p)]


class cluster_identity(Structure):
    _fields_ = [("size", c_size_t), ("cluster", c_uint8 * CLUSTER_ID_LEN), ("replica", c_uint8 * CLUSTER_ID_LEN)]


class cluster_forget_request(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("replica", c_char_p), ("timeout_ms", c_uint32),
                ("traceparent", c_char_p)]


class cluster_status_request(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("timeout_ms", c_uint32), ("traceparent", c_char_p)]


class cluster_node(Structure):
    _fields_ = [("size", c_size_t), ("replica", c_uint8 * CLUSTER_ID_LEN), ("applied", c_uint64), ("wall_ms", c_int64),
                ("max_staleness_ms", c_uint32), ("pepper_lines", c_uint32), ("self", c_bool), ("marked", c_bool),
                ("valid", c_bool), ("reserved", c_char * 5), ("address", c_char * CLUSTER_ADDRESS_SIZE)]


class cluster_status(Structure):
    _fields_ = [("size", c_size_t), ("cluster", c_uint8 * CLUSTER_ID_LEN), ("replica", c_uint8 * CLUSTER_ID_LEN),
                ("applied", c_uint64), ("head", c_uint64), ("fresh_ms", c_int64), ("n_nodes", c_size_t),
                ("nodes", POINTER(c_void_p)), ("agent_connected", c_bool), ("closed", c_char * CLUSTER_CLOSED_SIZE),
                ("reserved", c_char * 7)]


class health_request(Structure):
    _fields_ = [("size", c_size_t), ("service", c_char_p), ("environment", c_enum), ("timeout_ms", c_uint32),
                ("traceparent", c_char_p)]


class stats_request(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("timeout_ms", c_uint32), ("traceparent", c_char_p)]


class environment_stats(Structure):
    _fields_ = [("size", c_size_t), ("environment", c_enum), ("serving", c_bool), ("verdicts", c_uint64 * 16),
                ("mutations", c_uint64), ("replays", c_uint64), ("refused", c_uint64), ("commits", c_uint64),
                ("keys_expired", c_uint64), ("corrupt_records", c_uint64), ("accounts", c_uint64), ("keys", c_uint64),
                ("used_bytes", c_uint64), ("ceiling_bytes", c_uint64), ("revision", c_uint64),
                ("event_sequence", c_uint64), ("queue_depth", c_uint32), ("pepper_lines", c_uint32),
                ("rotating", c_bool), ("rotation_keys", c_uint64), ("rotation_records", c_uint64),
                ("rotation_of_records", c_uint64), ("failures", c_uint64), ("group_sizes", c_uint64 * 16),
                ("keys_counted", c_bool), ("keys_by_state", c_uint64 * 8), ("superseded_in_use", c_uint64),
                ("superseded_in_use_end_ms", c_int64), ("in_cluster", c_bool), ("cluster_agent_connected", c_bool),
                ("cluster_closed", c_bool), ("cluster_nodes", c_uint32), ("cluster_applied", c_uint64),
                ("cluster_head", c_uint64), ("cluster_fresh_ms", c_int64)]


class stats(Structure):
    _fields_ = [("size", c_size_t), ("version", c_char * 32), ("start_ms", c_int64), ("requests", c_uint64),
                ("codes", c_uint64 * 17), ("connections", c_uint32), ("open_descriptors", c_uint32),
                ("in_flight", c_uint32), ("connections_refused", c_uint64), ("connections_dropped", c_uint64),
                ("unrecognised", c_uint64), ("n_environments", c_size_t), ("environments", POINTER(c_void_p)),
                ("answered", ((c_uint64 * 17) * 3) * 16), ("durations", (c_uint64 * DURATION_BUCKETS) * 16),
                ("durations_ns", c_uint64 * 16)]


# Results come as addresses: what is there may be shorter than our struct, when libfob is older (see structs.py).
state_cb = CFUNCTYPE(None, c_void_p, c_char_p, c_enum, c_void_p)
result_cb = CFUNCTYPE(None, c_void_p, c_int, c_void_p, c_void_p)
verify_cb = created_account_cb = rolled_key_cb = key_cb = account_cb = stats_cb = result_cb
cluster_identity_cb = cluster_status_cb = result_cb
cluster_forget_cb = CFUNCTYPE(None, c_void_p, c_int, c_void_p)
health_cb = CFUNCTYPE(None, c_void_p, c_int, c_enum, c_void_p)
verify_batch_cb = CFUNCTYPE(None, c_void_p, c_int, c_void_p, c_void_p, c_size_t, c_void_p)
import_cb = CFUNCTYPE(None, c_void_p, c_int, c_void_p, c_size_t, c_void_p)
page_cb = CFUNCTYPE(None, c_void_p, c_int, c_void_p, c_void_p, c_void_p)
key_page_cb = account_page_cb = event_page_cb = page_cb

STRUCTS: dict[str, type[Structure]] = {
    name: value for name, value in list(vars().items())
    if isinstance(value, type) and issubclass(value, Structure) and value is not Structure}
