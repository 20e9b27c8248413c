# Mdoc.pm - what the makers of manual pages share: text into mdoc(7), and where a page begins.
# Uses nothing but perl-base, which every Debian has.
package Mdoc;
use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use Text::Wrap ();
our @EXPORT = qw(read_file write_file head tidy escape plain text literal wrapped);

sub read_file {
	my ($path) = @_;
	open(my $file, '<:encoding(UTF-8)', $path) or die "$path: $!\n";
	local $/;
	return scalar <$file>;
}

sub write_file {
	my ($path, $content) = @_;
	open(my $file, '>:encoding(UTF-8)', $path) or die "$path: $!\n";
	print $file $content;
	close($file) or die "$path: $!\n";
}

# head(title, section, changelog): the page's first lines. Its date and version are those of ${changelog}, so that two
# builds give the same bytes.
sub head {
	my ($title, $section, $changelog) = @_;
	my %month = (Jan => 'January', Feb => 'February', Mar => 'March', Apr => 'April', May => 'May', Jun => 'June',
		Jul => 'July', Aug => 'August', Sep => 'September', Oct => 'October', Nov => 'November', Dec => 'December');
	my $entries = read_file($changelog);
	my ($version) = $entries =~ /^\S+ \(([^)-]+)/ or die "$changelog: no version\n";
	my ($day, $month, $year) = $entries =~ /^ -- .*>  \w+, 0?(\d+) (\w+) (\d+)/m or die "$changelog: no date\n";
	return ".Dd $month{$month} $day, $year\n.Dt " . uc($title) . " $section\n.Os \"Fob $version\"\n";
}

# One line of text or code, so that roff takes none of it for a request or an escape.
sub escape {
	my ($line) = @_;
	$line =~ s/\\/\\e/g;
	$line =~ s/^([.'])/\\&$1/;
	$line =~ s/(?<=[\s"(])-(?=[\w-])|^-(?=[\w-])/\\-/g;
	return $line;
}

# One word: ${name} is an argument, fob_name() a function. ${here} has the functions of this page.
sub word {
	my ($word, $here) = @_;
	if ($word =~ /^([("]?)(\*?)\$\{(\w+)\}([^\s)",.;:]*)([)",.;:]*)$/) {
		my ($open, $star, $name, $more, $close) = ($1, $2, $3, $4, $5);
		my $macro = "Fa $name" . ($more eq '' ? '' : " Ns $more");
		$macro = "Pf * $macro" if $star ne '';
		$macro = "Pf $open $macro" if $open ne '' and $star eq '';
		return ".$macro" . ($close eq '' ? '' : ' ' . join(' ', split(//, $close)));
	}
	if ($word =~ /^(\(?)(fob_\w+)\(\)([),.;:]*)$/) {
		my $close = $3 eq '' ? '' : ' ' . join(' ', split(//, $3));
		return ($here->{$2} ? ".Fn $2" : ".Xr $2 3") . $close if $1 eq '';
	}
	return $word;
}

sub filled {
	return @_ ? join('', map { escape($_) . "\n" } split(/\n/, wrapped("@_", 76, '', ''))) : '';
}

# Each sentence begins a line, as mdoc(7) wants it.
sub sentences {
	return split(/(?<=[.!?])\s+(?=["(\$*A-Z])/, $_[0]);
}

# A paragraph in which nothing is marked.
sub plain {
	return join('', map { filled(split(' ')) } sentences($_[0]));
}

# text(string, functions): a paragraph, whose arguments and functions are marked.
sub text {
	my ($string, $here) = @_;
	my $out = '';
	for my $sentence (sentences($string)) {
		my @line;
		for my $word (map { word($_, $here // {}) } split(' ', $sentence)) {
			if ($word =~ /^\.(Fa|Fn|Xr|Pf) /) {
				$out .= filled(@line);
				@line = ();
				$out .= "$word\n";
			} else {
				push(@line, $word);
			}
		}
		$out .= filled(@line);
	}
	return $out;
}

# Without spaces that a list, a display or a heading makes anyway.
sub tidy {
	my ($page) = @_;
	$page =~ s/\n\n+/\n/g;
	$page =~ s/(?:^\.Pp\n)+(?=\.(?:Pp|Bl|Bd|Sh|Ss|El|It)\b)//gm;
	$page =~ s/^(\.S[hs] .*\n)(?:\.Pp\n)+/$1/gm;
	$page =~ s/(?:^\.Pp\n)+\z//m;
	return $page;
}

# Code, as it is.
sub literal {
	my ($code) = @_;
	$code =~ s/\t/    /g;
	return ".Bd -literal\n" . join('', map { escape($_) . "\n" } split(/\n/, $code)) . ".Ed\n";
}

# wrapped(text, columns, first, next): lines that start with ${first}, then with ${next}.
sub wrapped {
	my ($string, $columns, $first, $next) = @_;
	local $Text::Wrap::columns = $columns + 1;
	local $Text::Wrap::huge = 'overflow';
	local $Text::Wrap::unexpand = 0;
	return Text::Wrap::wrap($first, $next, $string);
}

1;
