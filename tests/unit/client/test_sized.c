/*
 * Structs of another version than the library's: an older program's is taken as it is, a newer one's while its new
 * members are zero, and nothing is written beyond what the caller has. And the layout of every struct of fob.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/sized.h"

/* The library's. */
struct known {
	size_t size;
	uint32_t a, b;
	const char *text;
};

/* Of a program that was built before ${text}, and of one that was built after it. */
struct older {
	size_t size;
	uint32_t a, b;
};
struct newer {
	struct known known;
	uint64_t more[2];
};

static void
test_take(void **state)
{
	const struct known same = { .size = sizeof(same), .a = 1, .b = 2, .text = "x" };
	const struct older old = { .size = sizeof(old), .a = 3, .b = 4 };
	struct newer new = { .known = { .size = sizeof(new), .a = 5, .b = 6, .text = "y" } };
	struct known out;
	struct fob_error e;

	(void)state;
	assert_int_equal(SIZED_TAKE(&out, &same, "known", &e), 0);
	assert_memory_equal(&out, &same, sizeof(out));

	memset(&out, 0xaa, sizeof(out));
	assert_int_equal(sized_take(&out, sizeof(out), &old, "struct known", &e), 0);
	assert_int_equal(out.size, sizeof(out));
	assert_int_equal(out.a, 3);
	assert_int_equal(out.b, 4);
	assert_null(out.text);

	assert_int_equal(sized_take(&out, sizeof(out), &new, "struct known", &e), 0);
	assert_int_equal(out.size, sizeof(out));
	assert_string_equal(out.text, "y");
	new.more[1] = 1;
	assert_int_equal(sized_take(&out, sizeof(out), &new, "struct known", &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(e.fault, FOB_EINVALID_ARGUMENT);
	assert_string_equal(e.message, "struct known has a member set that libfob " FOB_VERSION " does not know");
}

static void
test_sizes_that_cannot_be(void **state)
{
	static const size_t sizes[] = { 0, 1, sizeof(size_t), SIZED_MAX + 1, SIZE_MAX };
	struct known given = { .a = 1 }, out;
	struct fob_error e;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		given.size = sizes[i];
		assert_int_equal(SIZED_TAKE(&out, &given, "known", &e), FOB_EINVALID_ARGUMENT);
		assert_non_null(strstr(e.message, "struct known has size"));
		assert_non_null(strstr(e.message, "_INIT"));
		assert_int_equal(sized_check(&given, "struct known", &e), FOB_EINVALID_ARGUMENT);
		assert_int_equal(sized_check_stride(sizes[i], "struct known", &e), FOB_EINVALID_ARGUMENT);
	}
	assert_int_equal(sized_check_stride(sizeof(given) + 1, "struct known", &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(sized_check_stride(sizeof(given), "struct known", &e), 0);
	given.size = sizeof(given);
	assert_int_equal(sized_check(&given, "struct known", &e), 0);
}

static void
test_give(void **state)
{
	const struct known result = { .size = sizeof(result), .a = 1, .b = 2, .text = "x" };
	struct {
		struct older old;
		uint64_t beyond;
	} small = { .old = { .size = sizeof(struct older) }, .beyond = 0x5555555555555555 };
	struct newer large = { .known = { .size = sizeof(large) }, .more = { 7, 8 } };

	(void)state;
	sized_give(&small.old, &result, sizeof(result));
	assert_int_equal(small.old.size, sizeof(struct older));
	assert_int_equal(small.old.a, 1);
	assert_int_equal(small.old.b, 2);
	assert_true(small.beyond == 0x5555555555555555);
	sized_give(&large, &result, sizeof(result));
	assert_int_equal(large.known.size, sizeof(large));
	assert_string_equal(large.known.text, "x");
	assert_int_equal(large.more[0], 7);

	sized_clear(&small.old, sizeof(result));
	assert_int_equal(small.old.size, sizeof(struct older));
	assert_int_equal(small.old.b, 0);
	assert_true(small.beyond == 0x5555555555555555);
	sized_clear(&large, sizeof(result));
	assert_int_equal(large.known.size, sizeof(large));
	assert_null(large.known.text);
	assert_int_equal(large.more[1], 8);
}

/* A result that was not initialised: its verdict denies all the same, and what may not be the caller's is left alone. */
static void
test_clear_without_a_size(void **state)
{
	static const size_t sizes[] = { 0, 3, SIZE_MAX };
	struct fob_verification v;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		memset(&v, 0x55, sizeof(v));
		v.size = sizes[i];
		v.verdict = FOB_VERDICT_VALID;
		sized_clear(&v, sizeof(v));
		assert_int_equal(v.size, sizes[i]);
		assert_int_equal(v.verdict, FOB_VERDICT_DENIED);
		assert_int_equal(v.account[0], 0x55);
	}
}

#if UINTPTR_MAX == UINT64_MAX
/*
 * The ABI of 64-bit systems. A struct may grow: change its size here, and add its new last member. Where a member was,
 * it stays.
 */
#define LAYOUT(type, size, last, at) \
	_Static_assert(sizeof(struct type) == (size), "the size of struct " #type); \
	_Static_assert(offsetof(struct type, last) == (at), "struct " #type "'s " #last)

LAYOUT(fob_error, 272, reserved_more, 248);
LAYOUT(fob_cursor, 128, bytes, 2);
LAYOUT(fob_verify_request, 64, traceparent, 56);
LAYOUT(fob_verification, 248, detail, 118);
LAYOUT(fob_verify_batch_request, 56, traceparent, 48);
LAYOUT(fob_key, 128, last4, 121);
LAYOUT(fob_account, 120, account, 48);
LAYOUT(fob_event, 336, certificate, 194);
LAYOUT(fob_event, 336, on_behalf_of, 264);
LAYOUT(fob_account_request, 56, on_behalf_of, 48);
LAYOUT(fob_roll_request, 88, on_behalf_of, 80);
LAYOUT(fob_revoke_request, 64, on_behalf_of, 56);
LAYOUT(fob_new_key, 24, secret, 16);
LAYOUT(fob_created_account, 32, publishable_key, 24);
LAYOUT(fob_rolled_key, 24, old_key, 16);
LAYOUT(fob_import_account, 56, publishable_last4, 48);
LAYOUT(fob_import_request, 72, on_behalf_of, 64);
LAYOUT(fob_list_request, 40, traceparent, 32);
LAYOUT(fob_key_page, 24, keys, 16);
LAYOUT(fob_account_page, 24, accounts, 16);
LAYOUT(fob_event_page, 24, events, 16);
LAYOUT(fob_backup_request, 48, traceparent, 40);
LAYOUT(fob_backup_part, 80, event_sequence, 72);
LAYOUT(fob_cluster_init_request, 40, traceparent, 32);
LAYOUT(fob_cluster_identity, 40, replica, 24);
LAYOUT(fob_cluster_forget_request, 40, traceparent, 32);
LAYOUT(fob_cluster_status_request, 24, traceparent, 16);
LAYOUT(fob_cluster_node, 184, address, 56);
LAYOUT(fob_cluster_status, 328, reserved, 321);
LAYOUT(fob_health_request, 32, traceparent, 24);
LAYOUT(fob_stats_request, 24, traceparent, 16);
LAYOUT(fob_environment_stats, 536, failures, 280);
LAYOUT(fob_environment_stats, 536, superseded_in_use_end_ms, 496);
LAYOUT(fob_environment_stats, 536, cluster_nodes, 508);
LAYOUT(fob_environment_stats, 536, cluster_fresh_ms, 528);
LAYOUT(fob_stats, 10104, environments, 240);
LAYOUT(fob_stats, 10104, durations_ns, 9976);
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_take), cmocka_unit_test(test_sizes_that_cannot_be),
		cmocka_unit_test(test_give), cmocka_unit_test(test_clear_without_a_size) };

	return cmocka_run_group_tests_name("client/sized", tests, NULL, NULL);
}
