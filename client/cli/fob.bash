# fob.bash - completion of the `fob` command for bash. Source it, or install it as
# /usr/share/bash-completion/completions/fob. It never calls fobd, and never completes a key.

_fob_options() {
	case $1 in
	"account create" | "account suspend" | "account resume") echo --environment --token-file ;;
	"account list" | "key list") echo --environment ;;
	"account import") echo --environment --format --start-line --continue-on-error --dry-run ;;
	"key roll") echo --environment --grace --expected-generation --authorize-from --token-file ;;
	"key revoke") echo --environment --kind --generation --secret-file --token-file ;;
	verify) echo --secret-file --basic --operation --require ;;
	events) echo --account --environment --follow ;;
	check | "pepper rotate") echo --config --help; return ;;
	backup) echo --config ;;
	restore) echo --config --events --accept-revived --help; return ;;
	esac
	echo --address --timeout --output --yes --no-color --tls-ca --tls-cert --tls-key --tls-server-name --help --version
}

_fob_words() {
	case $1 in
	"") echo account key verify events health stats check backup restore pepper help ;;
	check | backup | restore | "pepper rotate") echo live test ;;
	pepper) echo rotate ;;
	account) echo create list suspend resume import ;;
	key) echo list roll revoke ;;
	health) echo fob.v1.Keys fob.v1.Admin live test ;;
	esac
}

# What is typed so far, without options and their values: "", "key", "key roll", "key roll acct_42".
_fob_command() {
	local i word command="" skip=""
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $skip ]]; then
			# Readline makes a word of its own of "=" in --option=value.
			[[ $word == = ]] || skip=""
			continue
		fi
		case $word in
		--yes | --no-color | --help | --version | --basic | --follow | --continue-on-error | --dry-run | --accept-revived) ;;
		--*) skip=1 ;;
		help) ;;
		*) command+="${command:+ }$word" ;;
		esac
	done
	echo "$command"
}

_fob() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local words command arguments
	words=$(_fob_command)
	command=$words
	COMPREPLY=()
	if [[ $previous == = ]]; then
		previous=${COMP_WORDS[COMP_CWORD - 2]}
	elif [[ $current == = ]]; then
		current=""
	fi
	# Only the command's name tells the options; what follows are arguments.
	case $command in
	"account "* | "key "* | "pepper "*) command=$(cut -d' ' -f1,2 <<<"$command") ;;
	*) command=${command%% *} ;;
	esac
	arguments=${words#"$command"}
	case $previous in
	--environment | --require) mapfile -t COMPREPLY < <(compgen -W "live test" -- "$current") ;;
	--kind) mapfile -t COMPREPLY < <(compgen -W "secret publishable" -- "$current") ;;
	--format) mapfile -t COMPREPLY < <(compgen -W "ndjson csv" -- "$current") ;;
	--output) mapfile -t COMPREPLY < <(compgen -W "table json" -- "$current") ;;
	--address) mapfile -t COMPREPLY < <(compgen -W "ipc:// tcp:// tls+tcp://" -- "$current") ;;
	--config | --events | --secret-file | --authorize-from | --token-file | --tls-ca | --tls-cert | --tls-key)
		mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
	--timeout | --grace | --generation | --start-line | --expected-generation | --operation | --account | --tls-server-name) ;;
	*)
		if [[ $current == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_fob_options "$command")" -- "$current")
		elif [[ $command == "account import" || ($arguments && ($command == check || $command == backup)) ]]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$current")
		elif [[ ! $arguments ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_fob_words "$command")" -- "$current")
		fi ;;
	esac
}

complete -F _fob fob
