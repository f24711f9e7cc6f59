"""One set of tables of classes for every place that reads some: all ways to write two classes, and what is refused."""

import codecs

NAMES = ("kea", "größe")
ATTRIBUTES = ("red", "blue, upper; lower", "size", "crest")
VECTORS = ((1.0, 0.0, 0.5, 0.9), (0.25, 1.0, 1.0, 0.0))

PLAIN = 'class,red,"blue, upper; lower",size,crest\nkea,1,0,0.5,0.9\ngröße,0.25,1,1,0\n'
TABS = 'class\tred\t"blue, upper; lower"\tsize\tcrest\nkea\t1\t0\t0.5\t0.9\ngröße\t0.25\t1\t1\t0\n'
SEMICOLONS = 'class;red;"blue, upper; lower";size;crest\nkea;1;0;0.5;0.9\ngröße;0.25;1;1;0\n'
WITH_MORE = (
    'number,Latin,class,split,red,description,"blue, upper; lower",size,crest,description 2\n'
    '1,nestor,kea,seen,1,"a parrot; it is green, mostly",0,0.5,0.9,\n'
    "2,magnus,größe,unseen,0.25,,1,1,0,big\n"
)

READ = {  # all say the same of the same classes
    "commas": PLAIN.encode(),
    "tabs": TABS.encode(),
    "semicolons": SEMICOLONS.encode(),
    "tabs and decimal commas": TABS.replace("0.", "0,").encode(),
    "decimal commas": SEMICOLONS.replace("0.", "0,").encode(),
    "byte order mark": PLAIN.encode("utf-8-sig"),
    "UTF-16 little-endian": codecs.BOM_UTF16_LE + TABS.encode("utf-16-le"),
    "UTF-16 big-endian": codecs.BOM_UTF16_BE + SEMICOLONS.encode("utf-16-be"),
    "sep=,": f"sep=,\n{PLAIN}".encode(),
    "sep=;": f"SEP=;\r\n{SEMICOLONS}".encode("utf-8-sig"),
    "sep=tab": f"sep=\t\n{TABS}".encode(),
    "sep= saved again": f'"sep=;"\t\t\t\t\n{TABS}'.replace("sep=;", "sep=\t").encode(),
    "header in capitals": PLAIN.replace("class,red", "Class , RED").replace("size", "Size").encode(),
    "quoted header": PLAIN.replace("class,red", '"class","red"').encode(),
    "yes and no": PLAIN.replace("1,0,0.5", "yes,No,0.5").replace("1,1,0", "TRUE,true,False").encode(),
    "line ends of Windows": PLAIN.replace("\n", "\r\n").encode(),
    "line ends of old Macs": PLAIN.replace("\n", "\r").encode(),
    "no line end": PLAIN.rstrip().encode(),
    "spaces": PLAIN.replace(",1", " , 1 ").replace("kea", " kea ").encode(),
    "blank lines": f"\n  \n{PLAIN.replace('größe', chr(10) + 'größe')}\n\n".encode(),
    "lines of commas": f",,,,\n{PLAIN.replace('größe', ',,,,' + chr(10) + 'größe')},,,,\n,,,,,,,,\n".encode(),
    "commas at all ends": PLAIN.replace("\n", ",,\n").encode(),
    "commas at some ends": PLAIN.replace("0.9\n", "0.9,,,\n").encode(),
    "semicolons at all ends": SEMICOLONS.replace("\n", ";\n").encode(),
    "apart letters": PLAIN.replace("ö", "o\u0308").encode(),
    "other columns": WITH_MORE.encode(),
}
HEAD = 'class,red,"blue, upper; lower",size,crest\n'
REFUSED = {
    "{path} must have a header and a line per class; got 0 lines": "",
    "{path} must have a header and a line per class; got 1 lines": HEAD,
    "{path} must have a column 'class'; got name, red": "name,red\nkea,1\n",
    "columns of {path} must have different names; got 'red' more than once": "class,red,Red,size\nkea,1,0.2,0\n",
    "every line of {path} must have 5 cells, as its header; got 7 in line 2": f"{HEAD}kea,1,0.2,0,1,7,7\n",
    "every line of {path} must have 5 cells, as its header; got 4 in line 3": f"{HEAD}kea,1,0,1,0\nemu,1,0.2,0\n",
    "{path} must name a class in every line; got none in line 3": f"{HEAD}kea,1,0,1,0\n,1,0.2,0,1\n",
    "classes in {path} must be different; got 'kea' in lines 2 and 4": f"{HEAD}kea,1,0,1,0\n\nkea,1,0.2,0,1\n",
    "class embeddings must not be all zeros, which say nothing of a class; got 1 of 2, the first 'emu'": (
        f"{HEAD}kea,1,0,1,0\nemu,0,no,0,-0\n"
    ),
    "attribute 'size' in {path} must be a number of at most 1e+18 in size; got '1e200' for 'kea' in line 2": (
        f"{HEAD}kea,1,0,1e200,0\n"
    ),
    "attribute 'red' in {path} must be a finite number for every class; got '1e999' for 'kea' in line 2": (
        f"{HEAD}kea,1e999,0,0,0\n"
    ),
    "attribute 'red' in {path} must be a finite number for every class; got 'nan' for 'emu' in line 3": (
        f"{HEAD}kea,1,0,0,0\nemu,nan,0,0,0\n"
    ),
    "attribute 'crest' in {path} must be a finite number for every class; got '' for 'kea' in line 2": (
        f"{HEAD}kea,1,0,0,\nemu,1,0,0,1\n"
    ),
    "attribute 'crest' in {path} must be a finite number for every class; got 'much' for 'emu' in line 3": (
        f"{HEAD}kea,1,0,0,1\nemu,1,0,0,much\n"
    ),
    "numbers in {path} must have one decimal mark; got points and commas": (
        'class\tred\t"blue, upper; lower"\tsize\tcrest\nkea\t1,234\t0\t0.5\t0\n'
    ),
    "{path} must be a table of comma-separated values; got unexpected end of data": f'{HEAD}"kea,1\n',
    "{path} must be text in UTF-8; got another coding from byte 43 on; save it as CSV UTF-8": (
        f"{HEAD}k\xf6a,1,0,0,1\n".encode("latin-1")
    ),
}
