#compdef fob
# fob.zsh - completion of the `fob` command for zsh. Install it as _fob in a folder of $fpath. What it offers is what fob
# has: it asks `fob __complete`, by standard input, as a key that was typed must not be an argument. fobd is not asked.

local -a offered suffix
local line word

for line in "${(@f)$(print -rl -- "${(@Q)words[2,CURRENT-1]}" "$PREFIX" | command fob __complete 2>/dev/null)}"; do
	word=${line%%$'\t'*}
	if [[ $word == :files ]]; then
		compset -P '--*='
		_files
		return
	fi
	[[ -n $word ]] && offered+=("${word//:/\\:}:${line#*$'\t'}")
	[[ $word == */ ]] && suffix=(-S '')
done
(( $#offered )) && _describe -t words fob offered "${suffix[@]}" -o nosort
