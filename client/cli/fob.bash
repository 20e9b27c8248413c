# fob.bash - completion of the `fob` command for bash. Source it, or install it as
# /usr/share/bash-completion/completions/fob. What it offers is what fob has: it asks `fob __complete`,
# by standard input, as a key that was typed must not be an argument. fobd is not asked.

_fob() {
	local line=${COMP_LINE:0:COMP_POINT} words current part before word
	read -ra words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	current=${words[-1]}
	# Readline replaces only what is behind the last = or : of a word.
	part=$current
	[[ $COMP_WORDBREAKS == *=* ]] && part=${part##*=}
	[[ $COMP_WORDBREAKS == *:* ]] && part=${part##*:}
	before=${current%"$part"}
	COMPREPLY=()
	while IFS=$'\t' read -r word _; do
		if [[ $word == :files ]]; then
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -f -- "$part")
			return
		fi
		COMPREPLY+=("${word#"$before"}")
	done < <(printf '%s\n' "${words[@]:1}" | command fob __complete 2>/dev/null)
	[[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace 2>/dev/null
	return 0
}

complete -F _fob fob
