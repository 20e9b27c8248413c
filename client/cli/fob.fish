# fob.fish - completion of the `fob` command for fish. Source it, or install it in vendor_completions.d. What it offers
# is what fob has: it asks `fob __complete`, by standard input, as a key that was typed must not be an argument. fobd is
# not asked.

function __fob_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l offered (printf '%s\n' $words[2..-1] "$current" | command fob __complete 2>/dev/null)
    if test "$offered[1]" != :files
        printf '%s\n' $offered
        return
    end
    set -l before (string match -r -- '^--[^=]*=' "$current")
    for file in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current"))
        echo "$before$file"
    end
end

complete -c fob -f -k -a '(__fob_complete)'
