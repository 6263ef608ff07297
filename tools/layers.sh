#!/bin/sh
# layers.sh [ROOT] - the arrows between the rooms: what a file under src/ROOM may #include.  One line a violation, exit 1.
#   base < math < ckpt < text < model < pass < measure < study < cli, and pass < train < study, pass < generate < study
# stats knows only base; measure and the rooms after it may use it.  report knows no model: of ckpt it uses the array
# files.  Nobody includes cli.
root=${1:-$(dirname "$0")/..}

allowed() {
    case $1 in
    base)    echo "" ;;
    math)    echo "base" ;;
    ckpt)    echo "base math" ;;
    text)    echo "base math ckpt" ;;
    model)   echo "base math ckpt text" ;;
    pass)    echo "base math ckpt text model" ;;
    measure) echo "base math ckpt text model pass stats" ;;
    stats)   echo "base" ;;
    report)  echo "base ckpt stats" ;;
    train)   echo "base math ckpt text model pass" ;;
    generate) echo "base math ckpt text model pass" ;;
    study)   echo "base math ckpt text model pass measure stats report train generate" ;;
    cli)     echo "base math ckpt text model pass measure stats report train generate study" ;;
    *)       return 1 ;;
    esac
}

violations=$(
    for folder in "$root"/src/*/; do
        room=$(basename "$folder")
        if ! may=$(allowed "$room"); then
            echo "src/$room: expected a room of tools/layers.sh, found a new one"
            continue
        fi
        # path:line:#include "room/file.h"; a name without a folder is the public header or written by the build
        find "$folder" -type f -name '*.[ch]' -exec grep -nH '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' {} + |
            while IFS=: read -r path line include; do
                name=${include#*\"}
                name=${name%%\"*}
                target=${name%%/*}
                [ "$target" = "$name" ] && continue
                case " $room $may " in
                *" $target "*) ;;
                *) echo "src${path#"$root"/src}:$line: $room includes \"$name\": expected one of: $room $may" ;;
                esac
            done
    done
)
[ -z "$violations" ] && exit 0
printf '%s\n' "$violations"
exit 1
