import android.graphics.Bitmap
import java.io.File

/** Calls the function in docs/how-to/use-the-model-files.md with the bytes of image.rgb and prints what it returns. */
fun main() {
    val bytes = File("image.rgb").readBytes()
    val colours = IntArray(224 * 224) { pixel ->
        (0..2).fold(0xff) { colour, channel -> (colour shl 8) or (bytes[3 * pixel + channel].toInt() and 0xff) }
    }
    val probabilities = classify(File("models/demo/model.int8.onnx").readBytes(), Bitmap(colours))
    val codes = listOf("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    for ((code, probability) in codes.zip(probabilities.toList())) println("$code $probability")
}
