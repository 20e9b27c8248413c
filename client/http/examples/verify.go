// Whose is the API key on standard input, and may it do charges.create? The argument is fob-http's address.
//
// Exit status: 0 it may; 1 it may not; 2 Fob could not say. Let a request through on 0 only; answer 503 on 2, not 401.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

type verification struct{ Verdict, Detail, Account string }

// A Transport without Proxy: the environment's proxy must not see the key.
var client = http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{}}

// verify tells what Fob says of a key. An error: nothing is known of it. Only the verdict VALID allows.
func verify(secret, operation, url string) (said verification, err error) {
	body, _ := json.Marshal(map[string]string{"secret": secret, "operation": operation})
	reply, err := client.Post(url+"/v1/verify", "application/json", bytes.NewReader(body))
	if err != nil {
		return said, err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return said, errors.New(reply.Status)
	}
	if err = json.NewDecoder(reply.Body).Decode(&said); err == nil && said.Verdict == "" {
		err = errors.New("the answer has no verdict")
	}
	return said, err
}

func main() {
	url := "http://127.0.0.1:8480"
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	said, err := verify(strings.TrimSpace(line), "charges.create", url)
	if err != nil {
		fmt.Fprintln(os.Stderr, "Fob could not say:", err)
		os.Exit(2)
	}
	if said.Verdict != "VALID" {
		fmt.Printf("%s: %s\n", said.Verdict, said.Detail)
		os.Exit(1)
	}
	fmt.Println(said.Account)
}
