/*
 * verify.c - read an API key from standard input and ask fobd whose it is, with libfob.
 *
 *	cc -o verify verify.c $(pkg-config --cflags --libs fob)
 *	./verify ipc:///run/fob/verify.sock < key.txt
 *
 * Exit status: 0 the key is valid, 1 it is not, 2 nothing is known of it.
 */
#include <stdio.h>
#include <string.h>

#include <fob.h>

static int
verify(struct fob_client *client, const char *key)
{
	const struct fob_verify_request request = { FOB_VERIFY_REQUEST_INIT, .secret = key, .secret_len = strlen(key),
		.operation = "charges.create" };
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	struct fob_error error;

	if (fob_verify(client, &request, &v, &error) != 0) {
		fprintf(stderr, "%s: %s\n", fob_fault_name(error.fault), error.message);
		return 2;
	}
	if (!fob_allows(&v)) {
		printf("%s: %s\n", fob_verdict_name(v.verdict), v.detail);
		return 1;
	}
	printf("%s, %s mode\n", v.account, v.livemode ? "live" : "test");
	return 0;
}

int
main(int argc, char *argv[])
{
	struct fob_options *options = fob_options_new();
	struct fob_client *client = NULL;
	struct fob_error error = { .fault = 0 };
	char key[FOB_SECRET_SIZE] = "";
	int status = 2;

	if (argc != 2 || options == NULL || fob_options_set_address(options, argv[1]) != 0 ||
	    fob_options_set_fail_fast(options, true) != 0)
		fprintf(stderr, "usage: verify ADDRESS < KEY\n");
	else if (fob_client_new(options, &client, &error) != 0)
		fprintf(stderr, "%s\n", error.message);
	else if (fgets(key, sizeof(key), stdin) != NULL) {
		key[strcspn(key, "\r\n")] = '\0';
		status = verify(client, key);
	}
	fob_wipe(key, sizeof(key));
	fob_client_free(client);
	fob_options_free(options);
	return status;
}
